// PixelMed's view of a structured report, painted into a picture without a display.
// java -cp pixelmed.jar ReportTree.java SR.dcm OUT.png
import com.pixelmed.dicom.AttributeList;
import com.pixelmed.dicom.StructuredReport;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.File;
import javax.imageio.ImageIO;
import javax.swing.JTree;

public class ReportTree {
    public static void main(String[] names) throws Exception {
        System.setProperty("java.awt.headless", "true");
        AttributeList list = new AttributeList();
        list.read(names[0]);
        JTree tree = new JTree(new StructuredReport(list));
        for (int row = 0; row < tree.getRowCount(); row++) tree.expandRow(row);
        int height = Math.min(tree.getPreferredSize().height, 900);
        tree.setSize(1000, tree.getPreferredSize().height);
        tree.doLayout();
        BufferedImage picture = new BufferedImage(1000, height, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = picture.createGraphics();
        graphics.setColor(Color.WHITE);
        graphics.fillRect(0, 0, 1000, height);
        tree.paint(graphics);
        ImageIO.write(picture, "png", new File(names[1]));
    }
}
